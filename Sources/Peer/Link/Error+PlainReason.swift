import Foundation
import NIOCore
import NIOPosix

extension Error {
    /// The error for a user, in one line: errors of this project describe themselves, and those of libraries would name
    /// functions.
    package var plainReason: String {
        switch self {
        case let error as IOError: String(cString: strerror(error.errnoCode))
        case let error as NIOConnectionError: error.firstReason
        case is ChannelError: "the connection is closed"
        case is CancellationError: "it was ended"
        case is DecodingError: "what it sends is not understood; run the same release on both sides"
        case let error as CocoaError: (error as NSError).systemReason
        case let error as NSError where type(of: self) is NSError.Type: error.systemReason
        default: String(describing: self)
        }
    }
}

extension NIOConnectionError {
    fileprivate var firstReason: String {
        if let first = connectionErrors.first { return first.error.plainReason }
        if dnsAError != nil || dnsAAAAError != nil {
            return "no address is known for the host \(host), so check its name"
        }
        return "nothing answers at \(host):\(port)"
    }
}

extension NSError {
    /// The path and the system's reason, or Foundation's if the system has none.
    fileprivate var systemReason: String {
        let cause = userInfo[NSUnderlyingErrorKey] as? NSError ?? self
        let path = (userInfo[NSFilePathErrorKey] as? String ?? (userInfo[NSURLErrorKey] as? URL)?.path).map {
            "\($0): "
        }
        guard let code = cause.systemCode else { return (path ?? "") + localizedDescription }
        return (path ?? "") + String(cString: strerror(code))
    }

    /// The number of the system's error; nil if Foundation does not tell.
    private var systemCode: CInt? {
        switch (domain, code) {
        case (NSPOSIXErrorDomain, _): CInt(clamping: code)
        case (NSCocoaErrorDomain, NSFileReadNoSuchFileError), (NSCocoaErrorDomain, NSFileNoSuchFileError): ENOENT
        case (NSCocoaErrorDomain, NSFileReadNoPermissionError), (NSCocoaErrorDomain, NSFileWriteNoPermissionError):
            EACCES
        case (NSCocoaErrorDomain, NSFileWriteOutOfSpaceError): ENOSPC
        case (NSCocoaErrorDomain, NSFileWriteFileExistsError): EEXIST
        default: nil
        }
    }
}
