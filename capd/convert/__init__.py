"""A tcpdump or dumpcap command line as capd.toml, and what that line did besides.

    shell       a line as a shell reads it; wrappers: sudo, nohup, parallel, ... before a program
    options     options as getopt reads them, from a table
    tcpdump     what each option means; its table is tcpdump_options, its -C -G -W are rotation
    dumpcap     the same; its table is dumpcap_options, its -a -b -c are criteria
    files       what both have in common: directories, sizes, interfaces; amounts: numbers
    plan        what is to be recorded, and the notes; document: the same as TOML
    conversion  all of it

It runs nothing, reads nothing but a filter's file (-F), and asks the machine nothing but whether
libpcap accepts the filter.  What is said of the two programs was read off the manual pages and
tried with tcpdump 4.99.3 and dumpcap 4.0.17 (Debian 12).
"""
