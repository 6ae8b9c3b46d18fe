/// The information items of INFO and GO. Protocol text, "NBD_OPT_GO", the NBD_INFO_ types.
enum Information: UInt16 {
    case export = 0
    case name = 1
    case description = 2
    case blockSize = 3
}
