import NIOCore
import NIOPosix

// An asynchronous channel that is made and never run ends the process, and an accepted connection may never be run: the
// server may stop first, or have too many. So servers accept bare channels that read nothing, and whoever takes one up
// makes it an asynchronous one.

extension ServerBootstrap {
    /// Accepted channels read nothing until `takeUp`.
    public func acceptingBareChannels() -> ServerBootstrap {
        childChannelOption(.autoRead, value: false)
    }
}

extension Channel {
    /// Dresses a bare channel with `wrap`, on its event loop, and lets it read.
    /// - Throws: what `wrap` throws; the channel is then closed, if it was not already.
    public func takeUp<Wrapped: Sendable>(
        _ wrap: @escaping @Sendable (any Channel) throws -> Wrapped
    ) async throws -> Wrapped {
        do {
            return try await eventLoop.submit { [self] in
                let wrapped = try wrap(self)
                try syncOptions?.setOption(.autoRead, value: true)
                return wrapped
            }.get()
        } catch {
            close(promise: nil)
            throw error
        }
    }
}
