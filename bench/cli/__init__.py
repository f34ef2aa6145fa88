"""The command line: one file per verb (subcommand), imported when the verb is called."""
