"""Coverage-guided fuzzers of what reads bytes that capd has not just written itself.

    pack.c, match.c, survey.c   harnesses for libFuzzer, with capd's C under the sanitizers
    pack, match, survey         their inputs in Python: seeds, and the same input for the slow twin
    salvage, index, config,
    convert, records, words     what atheris shows bytes to, with capd's Python watched
    engine                      builds and runs one, and reads what it says; `guided` is atheris
    __main__                    the command line, `tests/fuzz`

Each module of a target has `seeds`, inputs to begin with, made by what writes such bytes, and
`check`, which raises if a property does not hold; perhaps `WORDS`, which stand in such texts.
"""
