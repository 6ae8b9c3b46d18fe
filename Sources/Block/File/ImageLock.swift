import CLinux
import Glibc

/// Keeps a second writer off an image, in the way that QEMU does, so that QEMU and nearblock notice each other.
///
/// QEMU locks single bytes of the file with open-file-description locks: byte 100 + n for a right that is used, byte
/// 200 + n for one that is not shared; n is 1 for writing. The locks go when the descriptor is closed.
enum ImageLock {
    private static let usesWriting: off_t = 101
    private static let doesNotShareWriting: off_t = 201

    /// How long a writer is waited for that may be gone already: a child of its process that has been forked and has not
    /// begun its own program yet keeps what it had open.
    private static let patience = (attempts: 20, interval: 10_000 as UInt32)

    /// - Throws: `ImageInUse` where another writer has the image.
    static func take(_ descriptor: CInt, _ path: String) throws {
        for attempt in 1... {
            do {
                return try tryToTake(descriptor, path)
            } catch  where attempt < patience.attempts {
                // Meanwhile nobody else is kept off by what this one holds half.
                for byte in [usesWriting, doesNotShareWriting] { linux_unlock_byte(descriptor, byte) }
                usleep(patience.interval)
            }
        }
    }

    private static func tryToTake(_ descriptor: CInt, _ path: String) throws {
        for byte in [usesWriting, doesNotShareWriting] {
            guard linux_lock_byte(descriptor, byte, 0) == 0 else {
                // A file system without locks can't tell writers apart.
                if errno == EAGAIN || errno == EACCES { throw ImageInUse(path: path) }
                return
            }
        }
        for byte in [usesWriting, doesNotShareWriting] where linux_byte_is_locked(descriptor, byte) == 1 {
            throw ImageInUse(path: path)
        }
    }
}
