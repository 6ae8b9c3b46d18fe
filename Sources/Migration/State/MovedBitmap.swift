/// A dirty bitmap that moves with its disk.
public struct MovedBitmap: Sendable {
    /// The bitmap's name.
    public let name: String
    /// Its bits at the switchover; nil if they are not known any more.
    public let bits: BitmapKeeper.Bits?

    /// - Parameter bits: nil if they are not known.
    public init(name: String, bits: BitmapKeeper.Bits?) {
        self.name = name
        self.bits = bits
    }
}
