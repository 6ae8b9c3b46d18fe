import Foundation

extension FileError {
    /// An error of Foundation's file functions, with the code of the system call that failed.
    package init(_ action: String, _ path: String, because error: any Error) {
        let error = error as NSError
        let cause = error.userInfo[NSUnderlyingErrorKey] as? NSError ?? error
        let code: CInt =
            switch (cause.domain, error.code) {
            case (NSPOSIXErrorDomain, _): CInt(clamping: cause.code)
            case (_, NSFileReadNoSuchFileError), (_, NSFileNoSuchFileError): ENOENT
            case (_, NSFileReadNoPermissionError): EACCES
            default: EIO
            }
        self.init(action, path, code: code)
    }
}
