/// Bounds of what an offer may carry.
package enum OfferLimits {
    /// Bytes of a domain's name, in UTF-8.
    package static let longestDomain = 255
    /// Migrations by which other nodes may know a disk. To forget one would cut its source off.
    package static let maximumAliases = 256
}
