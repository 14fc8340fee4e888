# Completion of sire for bash 4.4 or newer. The candidates come from sire itself; names of models
# and devices and ids of jobs come from the daemon if it is running.

_sire_completion() {
    local line=${COMP_LINE:0:COMP_POINT} last word
    local -a words
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    last=$((${#words[@]} - 1))
    mapfile -t COMPREPLY < <(
        COMP_WORDS=$line COMP_CWORD=$last _SIRE_COMPLETE=complete_bash "$1" 2>/dev/null
    )
    # An empty list lets bash complete file names.
    [[ -n ${COMPREPLY[*]} ]] || COMPREPLY=()
    # bash splits cuda:0 into three words and replaces only the last.
    if [[ $COMP_WORDBREAKS == *:* ]]; then
        word=${words[last]##*=}
        COMPREPLY=("${COMPREPLY[@]#"${word%"${word##*:}"}"}")
    fi
}

complete -o default -F _sire_completion sire
