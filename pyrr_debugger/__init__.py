"""pyrr: record and replay Python programs on Linux x86-64, without hardware counters."""
