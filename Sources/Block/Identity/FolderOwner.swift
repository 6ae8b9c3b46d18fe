import Foundation
import Glibc

/// Gives files that root creates in another user's folder to that user. A service with a user of its own could otherwise
/// not read what root's commands leave in its folders.
public enum FolderOwner {
    /// Changes the owner of a new file; does nothing unless root has created it in a folder of another user.
    /// - Parameter path: of the file, for the folder's owner and for the message.
    /// - Throws: `FileError` if the owner can't be changed.
    public static func take(_ descriptor: CInt, _ path: String) throws {
        guard geteuid() == 0 else { return }
        var folder = stat()
        let name = URL(fileURLWithPath: path).deletingLastPathComponent().path
        guard stat(name, &folder) == 0, folder.st_uid != 0 else { return }
        guard fchown(descriptor, folder.st_uid, folder.st_gid) == 0 else {
            throw FileError("change the owner of", path)
        }
    }
}
