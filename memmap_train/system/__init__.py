"""The machine: memory, cores, buffers, direct I/O, locks, signals. Imports only `errors`."""
