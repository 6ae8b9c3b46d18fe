/// The release of this program.
public enum Release {
    /// As `nearblock --version` prints it; at most 64 bytes.
    public static let version = "0.1.0"
}
