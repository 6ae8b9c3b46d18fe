/// Bounds of what an offer may carry.
package enum OfferLimits {
    /// The most bytes of a domain's name, in UTF-8.
    package static let longestDomain = 255
    /// The most migrations by which other nodes may know a disk. To forget one would cut its source off.
    package static let maximumAliases = 256
}
