"""The command-line program, one file a command: options -> one recipe -> one summary line and an exit code."""
