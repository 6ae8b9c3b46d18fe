import NBDServer
import TLS

/// How NBD clients encrypt.
public struct TLSConfiguration: Sendable {
    /// Whether they may, or must.
    public enum Mode: String, CaseIterable, Sendable {
        case off
        case optional
        case required
    }

    /// Certificates and keys.
    public var files: TLSFiles
    /// Whether clients may, or must.
    public var mode: Mode
    /// Whether clients have to show a certificate.
    public var verifiesClients: Bool
    /// Whether clients may get in without TLS although those with TLS have to show a certificate, as nbd-server has it.
    public var letsUnverifiedIn = false

    /// With the files that QEMU, libvirt and nbdkit look for in a directory.
    public init(directory: String, mode: Mode, verifiesClients: Bool) {
        self.init(files: TLSFiles(directory: directory), mode: mode, verifiesClients: verifiesClients)
    }

    /// With files of any name.
    public init(files: TLSFiles, mode: Mode, verifiesClients: Bool) {
        self.files = files
        self.mode = mode
        self.verifiesClients = verifiesClients
    }

    /// Reads the files; nil where there is to be no TLS.
    /// - Throws: `TLSError`.
    func open() throws -> ServerTLS? {
        guard mode != .off else { return nil }
        let context = try TLSContext(files: files, verifiesClients: verifiesClients)
        return ServerTLS(context: context, isRequired: mode == .required)
    }
}
