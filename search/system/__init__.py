"""What the operating system gives and tells: processes, cores, memory, versions, file errors."""
