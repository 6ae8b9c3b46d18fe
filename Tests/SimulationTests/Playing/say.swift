import Glibc

/// Writes a line about the simulation to standard error at once: whatever ends the process later, it has been said.
func say(_ text: String) {
    var line = "simulation: \(text)\n"
    line.withUTF8 { _ = write(STDERR_FILENO, $0.baseAddress, $0.count) }
}
