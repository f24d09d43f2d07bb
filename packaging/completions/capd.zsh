#compdef capd
# Completion of capd's command line for zsh; tests/test_completions.py compares it with argparse.

_capd_interfaces() {
  local -a names=(/sys/class/net/*(-/N:t))
  _wanted interfaces expl interface compadd -a names
}

_capd_times() {
  local -a times=(now today yesterday 10min 1h 24h)
  _wanted times expl 'time in UTC' compadd -a times
}

_capd_holds() {
  local -a ids config
  [[ -z $opt_args[--config] ]] || config=(--config ${(Q)opt_args[--config]})
  ids=(${(f)"$(capd hold --json $config 2>/dev/null | grep -o '"id": "[0-9a-f]*"' | cut -d'"' -f4)"})
  _wanted holds expl hold compadd -a ids
}

_capd_commands() {
  local -a commands=(
    'run:capture in the foreground until SIGTERM or Ctrl-C'
    'check:every problem of a config, and what it comes to'
    'reload:put the config file in force; says what changed'
    'status:what is captured, what is lost, what waits'
    'finish:drain every ring and end the daemon'
    'list:the segments on the disk, and what is in them'
    'verify:read every segment back and name what is wrong'
    'losses:what was lost, when, where, why; what to change'
    'extract:packets, by time and filter, as one file'
    'hold:keep a range of time from retention'
    'release:end a hold'
    'alert:whether alerts arrive'
    "exec:run the config's commands for the events that wait"
    'metrics:serve what is counted to Prometheus, until SIGTERM'
    'tune:set the kernel and NICs for capture, and back again'
    'convert:a tcpdump or dumpcap line as capd.toml'
  )
  _describe -t commands command commands
}

_capd_verbs() {
  local -a verbs=(
    'show:each setting, and what it does for capture here'
    'apply:set what [tuning] asks for, and remember what was'
    'restore:put back what was there before'
  )
  _describe -t verbs verb verbs
}

_capd_tune() {
  local -a help=('(- : *)'{-h,--help}'[show the options]')
  local curcontext=$curcontext state line
  typeset -A opt_args
  _arguments -C $help '1:verb:_capd_verbs' '*:: :->rest' && return
  case $words[1] in
    show | apply) _arguments $help '--config[default /etc/capd.toml]:config:_files' ;;
    restore) _arguments $help ;;
  esac
}

_capd() {
  local curcontext=$curcontext state line expl
  typeset -A opt_args
  local -a help=('(- : *)'{-h,--help}'[show the options]')
  local config='--config[default /etc/capd.toml]:config:_files'
  local interface='*--interface[of this one only]:interface:_capd_interfaces'
  local json='--json[for programs]'
  local -a range=('--since[from this time on]:time:_capd_times'
    '--until[before this time]:time:_capd_times')
  _arguments -C $help '(- : *)--version[show the version]' \
    '1:command:_capd_commands' '*:: :->rest' && return
  case $words[1] in
    run)
      _arguments $help $config '--live[show a live table]' \
        '--seconds[stop after this long]:seconds:' \
        "--keep-rings[leave the rings in systemd's store at SIGTERM]"
      ;;
    check) _arguments $help $config '1:config:_files' ;;
    reload) _arguments $help ;;
    status)
      _arguments $help '(--watch)--json[for programs]' \
        '(--json)--watch[once a second, until Ctrl-C]'
      ;;
    finish) _arguments $help '--if-stopping[only if systemd is stopping this unit]:unit:(capd.service)' ;;
    list | verify) _arguments $help $config $interface $json ;;
    losses)
      _arguments $help $config $range $interface $json \
        '*--stage[at this stage only]:stage:(nic backlog link ring disk capd)' \
        '--samples[what was sampled around each]'
      ;;
    extract)
      _arguments $help $config $range $interface $json \
        '--follow[go on with what is recorded now]' \
        '-o[where to write; default stdout]:file:_files' \
        '--limit[no more than N packets]:packets:' \
        '--snaplen[no more than N bytes of each]:bytes:' \
        '--format[of the file]:format:(pcapng pcap)' \
        '*:filter, as in pcap-filter(7):'
      ;;
    hold)
      _arguments $help $config $range $interface $json \
        '--reason[for those who find the hold later]:reason:' \
        '--for[how long it lasts; default until it is released]:time:(1d 30d 365d)'
      ;;
    release)
      _arguments $help $config '--reason[for the journal]:reason:' \
        '(*)--all[all there are]' '*:hold:_capd_holds'
      ;;
    alert) _arguments $help $config '--test[run the alert command, and say what came of it]' ;;
    exec | metrics) _arguments $help $config ;;
    tune) _capd_tune ;;
    convert) _arguments $help '--json[both on standard output]' '*:line, behind a --:' ;;
  esac
}

_capd "$@"
