"""The core on a Core Lightning node: two pyln-client plugins and what they share. See plugins/ for the executables."""
