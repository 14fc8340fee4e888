# Completion of sire for fish. The candidates come from sire itself; names of models and devices and
# ids of jobs come from the daemon if it is running.

function __sire_complete
    set --local found (env _SIRE_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args \
        _TYPER_COMPLETE_ARGS=(commandline --current-process --cut-at-cursor | string collect) \
        sire 2>/dev/null)
    set --local token (commandline --current-token --cut-at-cursor)
    if test -n "$found"
        # A candidate for the value in --device=cu must include the option.
        set --local option (string match --regex '^--[^=]*=' -- $token; or echo '')
        printf '%s\n' $option$found
    else
        __fish_complete_path $token
    end
end

complete --command sire --no-files --arguments '(__sire_complete)'
