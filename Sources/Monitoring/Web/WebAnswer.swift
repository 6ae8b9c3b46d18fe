/// The answer to a GET.
public enum WebAnswer: Sendable {
    /// A document of a media type, whole.
    case document(mediaType: String, body: [UInt8])
    /// Server-sent events until the client leaves; the values are their data, one JSON text each without line ends.
    case events(AsyncStream<String>)
}
