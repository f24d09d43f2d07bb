/*
 * Any bytes as a segment or a part of one, walked by `_survey.survey`.
 *
 * What must hold: one walk over all of it finds the same as one up to any limit and another from
 * there on, and a sketch is no longer than its limit.
 */

#include "harness.h"

#define MOST_SKETCH 8192u

PyMODINIT_FUNC PyInit__survey(void);

struct arguments {
    uint16_t start;
    uint16_t limit;
    int16_t link_type;
    uint16_t sketch;
};

struct answer {
    Py_ssize_t end;
    int fault, link_type;
    word packets, first, last, lost, closed;
};

static PyObject *survey;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    PyImport_AppendInittab("_survey", PyInit__survey);
    start_python();
    survey = function_of("_survey", "survey");
    return 0;
}

static bool
surveyed(PyObject *view, Py_ssize_t start, Py_ssize_t limit, int link_type, bool sketch,
         struct answer *got)
{
    PyObject *result = PyObject_CallFunction(survey, "Onnii", view, start, limit, link_type, sketch);
    const char *made;
    Py_ssize_t length;
    bool taken = answered(result, "niiKKKKKy#", &got->end, &got->fault, &got->link_type,
                          &got->packets, &got->first, &got->last, &got->lost, &got->closed, &made,
                          &length);
    if (taken) {
        EXPECT(start <= got->end && got->end <= PyMemoryView_GET_BUFFER(view)->len);
        EXPECT(got->packets == 0 ? got->first == UINT64_MAX && got->last == 0
                                 : got->first <= got->last);
        EXPECT((size_t)length <= MOST_SKETCH && (sketch || length == 0));
        EXPECT(got->fault >= 0 && got->fault <= 2);
    }
    Py_XDECREF(result);
    return taken;
}

/* `all` is what `part` and what is behind it come to. */
static void
check(PyObject *view, const struct answer *all, const struct answer *part, bool sketch)
{
    struct answer rest = *part;
    if (part->fault == 0) {
        Py_ssize_t size = PyMemoryView_GET_BUFFER(view)->len;
        EXPECT(surveyed(view, part->end, size, part->link_type, sketch, &rest));
        rest.packets += part->packets;
        rest.first = part->first < rest.first ? part->first : rest.first;
        rest.last = part->last > rest.last ? part->last : rest.last;
        rest.lost = rest.lost == UINT64_MAX ? part->lost : rest.lost;
        if (rest.closed == 0 && all->closed != 0) /* or the statistics are of the year 1970 */
            rest.closed = part->closed;
    }
    EXPECT(rest.end == all->end && rest.fault == all->fault && rest.link_type == all->link_type);
    EXPECT(rest.packets == all->packets && rest.first == all->first && rest.last == all->last);
    EXPECT(rest.lost == all->lost && rest.closed == all->closed);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arguments given;
    if (size < sizeof given)
        return 0;
    memcpy(&given, data, sizeof given);
    data += sizeof given;
    size -= sizeof given;
    uint8_t *content = copy_of(data, size);
    PyObject *view = view_of(content, size);
    bool sketch = given.sketch & 1;
    struct answer all, part;
    bool taken = surveyed(view, given.start, (Py_ssize_t)size, given.link_type, sketch, &all);
    EXPECT(taken == (given.start <= size && given.link_type >= -1));
    if (taken && surveyed(view, given.start, given.limit, given.link_type, sketch, &part))
        check(view, &all, &part, sketch);
    EXPECT(size == 0 || memcmp(content, data, size) == 0);
    Py_DECREF(view);
    free(content);
    return 0;
}
