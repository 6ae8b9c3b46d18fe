import NIOCore

/// Reads the frames of a `PeerConnection`, one after the other.
typealias PeerFrames = NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
