# Completion of sire for fish. What there is to complete, sire itself knows; the names of models
# and devices and the ids of jobs come from the daemon while one runs.

function __sire_complete
    set --local found (env _SIRE_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args \
        _TYPER_COMPLETE_ARGS=(commandline --current-process --cut-at-cursor | string collect) \
        sire 2>/dev/null)
    set --local token (commandline --current-token --cut-at-cursor)
    if test -n "$found"
        # What completes the value in --device=cu replaces the option as well.
        set --local option (string match --regex '^--[^=]*=' -- $token; or echo '')
        printf '%s\n' $option$found
    else
        __fish_complete_path $token
    end
end

complete --command sire --no-files --arguments '(__sire_complete)'
