import Glibc

/// A library that is loaded when it is first needed, and never unloaded: its threads may outlive every user.
struct SharedLibrary: @unchecked Sendable {
    private let handle: UnsafeMutableRawPointer
    private let name: String
    private let package: String

    /// - Parameters:
    ///   - name: File name of the library with the version of its interface.
    ///   - package: The Debian package that has it, for the error.
    /// - Throws: `RadosError` if it is not installed, or can't be used.
    init(_ name: String, package: String) throws(RadosError) {
        guard let handle = dlopen(name, RTLD_NOW | RTLD_LOCAL) else {
            // It says which file is missing or of the wrong kind; that may be another library.
            let reason = dlerror().map { String(cString: $0) } ?? "unknown error"
            throw RadosError("load \(name)", reason: "\(reason); install \(package)")
        }
        (self.handle, self.name, self.package) = (handle, name, package)
    }

    /// Returns a function.
    /// - Parameter type: Its type, as the library's header declares it.
    func function<Function>(_ symbol: String, as type: Function.Type = Function.self) throws(RadosError) -> Function {
        guard let address = dlsym(handle, symbol) else {
            throw RadosError("load \(name)", reason: "it has no \(symbol); install \(package) 16.2 or later")
        }
        return unsafeBitCast(address, to: type)
    }
}
