import NIOCore
import NIOPosix

// NIO ends the process if an asynchronous channel is made and never run. An accepted connection may never be run, because
// the server stops first or has too many. So servers accept bare channels that read nothing, and make them asynchronous
// when they take them up.

extension ServerBootstrap {
    /// Makes accepted channels read nothing until `takeUp`.
    public func acceptingBareChannels() -> ServerBootstrap {
        childChannelOption(.autoRead, value: false)
    }
}

extension Channel {
    /// Wraps a bare channel with `wrap`, on its event loop, and lets it read.
    /// - Throws: the error of `wrap`, after which the channel is closed.
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
