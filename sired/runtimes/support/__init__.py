"""What several runtimes need: classes named in a file, arguments, options, HTTP answers."""
