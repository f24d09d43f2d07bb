# Completion of capd's command line for bash; tests/test_completions.py compares it with argparse.
#
# It needs nothing of the package bash-completion, which loads it at the first "capd <TAB>".

_capd_options() {
    case $1 in
        "") echo --version ;;
        run) echo --config --live --seconds --keep-rings ;;
        check | exec | metrics | "tune show" | "tune apply") echo --config ;;
        status) echo --json --watch ;;
        finish) echo --if-stopping ;;
        list | verify) echo --config --interface --json ;;
        losses) echo --config --since --until --interface --stage --samples --json ;;
        extract)
            echo --config --since --until --follow --interface -o --limit --snaplen --format --json
            ;;
        hold) echo --config --since --until --reason --for --interface --json ;;
        release) echo --config --all --reason ;;
        alert) echo --config --test ;;
        convert) echo --json ;;
    esac
}

# What may stand here that is no option.
_capd_words() {
    case $1 in
        "")
            echo run check reload status finish list verify losses extract hold release alert \
                exec metrics tune convert
            ;;
        tune) echo show apply restore ;;
        release) _capd_holds "$2" ;;
    esac
}

_capd_holds() {
    capd hold --json ${1:+--config "$1"} 2>/dev/null | grep -o '"id": "[0-9a-f]*"' | cut -d'"' -f4
}

# The value of an option; fails for what is none, or has none.
_capd_value() {
    local places=(/sys/class/net/*/)
    case $1 in
        --interface) places=("${places[@]%/}") && echo "${places[@]##*/}" ;;
        --stage) echo nic backlog link ring disk capd ;;
        --format) echo pcapng pcap ;;
        --since | --until) echo now today yesterday 10min 1h 24h ;;
        --for) echo 1d 30d 365d ;;
        --if-stopping) echo capd.service ;;
        --seconds | --limit | --snaplen | --reason) ;;
        *) return 1 ;;
    esac
}

_capd_files() {
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$1")
}

_capd() {
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local command="" config="" index choices choice
    COMPREPLY=()
    # bash divides --option=value in three
    if [[ $current == "=" ]]; then
        current=""
    elif [[ $before == "=" ]]; then
        before=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    for ((index = 1; index < COMP_CWORD; index++)); do
        if [[ ${COMP_WORDS[index]} == --config ]]; then
            config=${COMP_WORDS[index + 1]}
            [[ $config != "=" ]] || config=${COMP_WORDS[index + 2]}
        elif [[ ${COMP_WORDS[index]} != -* && (-z $command || $command == tune) ]]; then
            command+=${command:+ }${COMP_WORDS[index]}
        fi
    done
    if [[ $before == --config || ($before == -o && $command == extract) ]]; then
        _capd_files "$current"
        return
    fi
    if ! choices=$(_capd_value "$before"); then
        if [[ $current == -* ]]; then
            choices="-h --help $(_capd_options "$command")"
        elif [[ $command == check ]]; then
            _capd_files "$current"
            return
        else
            choices=$(_capd_words "$command" "$config")
        fi
    fi
    # Not by compgen -W, which would run an interface that is called $(...).
    read -rd "" -a choices <<<"$choices"
    for choice in "${choices[@]}"; do
        [[ $choice != "$current"* ]] || COMPREPLY+=("$(printf %q "$choice")")
    done
}

complete -F _capd capd
