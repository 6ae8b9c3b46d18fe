import NIOConcurrencyHelpers

/// A host of a site, and its process.
package struct DiskOwner: Sendable {
    package let host: String
    /// Random number of the process.
    package let instance: UInt64
    /// Random number of the state directory. Another one's records say nothing about what this one has begun.
    package let home: UInt64
    /// The images that the process serves.
    let images = NIOLockedValueBox<Set<String>>([])

    package init(host: String, home: UInt64, instance: UInt64 = .random(in: 1 ... .max)) {
        (self.host, self.home, self.instance) = (host, home, instance)
    }
}
