# Completion of sire for bash 4.4 or newer. What there is to complete, sire itself knows; the
# names of models and devices and the ids of jobs come from the daemon while one runs.

_sire_completion() {
    local line=${COMP_LINE:0:COMP_POINT} last word
    local -a words
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    last=$((${#words[@]} - 1))
    mapfile -t COMPREPLY < <(
        COMP_WORDS=$line COMP_CWORD=$last _SIRE_COMPLETE=complete_bash "$1" 2>/dev/null
    )
    # Nothing at all lets bash complete the name of a file.
    [[ -n ${COMPREPLY[*]} ]] || COMPREPLY=()
    # To bash cuda:0 is three words, of which it replaces the last.
    if [[ $COMP_WORDBREAKS == *:* ]]; then
        word=${words[last]##*=}
        COMPREPLY=("${COMPREPLY[@]#"${word%"${word##*:}"}"}")
    fi
}

complete -o default -F _sire_completion sire
