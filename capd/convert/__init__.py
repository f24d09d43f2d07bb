"""A tcpdump or dumpcap command line as capd.toml, and what that line did besides.

    shell      a line as typed, down to the calls of one program, without what stands before them
    options    options as getopt reads them, from a table
    tcpdump    what each of its options means; dumpcap the same
    files      what -w, -C, -G, -W and -b come to: files, and how many are kept
    plan       what is to be recorded, and the notes; document: the same as TOML
    conversion all of it

It runs nothing, reads nothing but a filter's file (-F), and asks the machine nothing but whether
libpcap accepts the filter.  What is said of the two programs was read off the manual pages and
tried with tcpdump 4.99.3 and dumpcap 4.0.17 (Debian 12).
"""
