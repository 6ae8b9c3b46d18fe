import NBDServer
import TLS

/// TLS for NBD clients.
public struct TLSConfiguration: Sendable {
    /// Whether clients may or must use TLS.
    public enum Mode: String, CaseIterable, Sendable {
        case off
        case optional
        case required
    }

    /// Paths of certificates and keys.
    public var files: TLSFiles
    /// Whether clients may or must use TLS.
    public var mode: Mode
    /// Whether clients with TLS must show a certificate.
    public var verifiesClients: Bool
    /// Whether clients without TLS are accepted although others must show a certificate, as in nbd-server.
    public var letsUnverifiedIn = false

    /// Uses the file names that QEMU, libvirt and nbdkit look for in a directory.
    public init(directory: String, mode: Mode, verifiesClients: Bool) {
        self.init(files: TLSFiles(directory: directory), mode: mode, verifiesClients: verifiesClients)
    }

    /// Uses files with any names.
    public init(files: TLSFiles, mode: Mode, verifiesClients: Bool) {
        self.files = files
        self.mode = mode
        self.verifiesClients = verifiesClients
    }

    /// Reads the files, as a node does when it starts.
    /// - Throws: `TLSError` if they can't be used.
    public func check() throws { _ = try open() }

    /// Reads the files; nil if TLS is off.
    /// - Throws: `TLSError`.
    func open() throws -> ServerTLS? {
        guard mode != .off else { return nil }
        let context = try TLSContext(files: files, verifiesClients: verifiesClients)
        return ServerTLS(context: context, isRequired: mode == .required)
    }
}
