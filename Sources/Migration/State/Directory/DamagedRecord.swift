/// A state record can't be understood. Its meaning is not guessed (invariant 5).
struct DamagedRecord: Error, CustomStringConvertible {
    let file: String

    var description: String {
        "the state record \(file) is damaged; put it back from a backup, "
            + "or, if no migration of that disk has ended here, remove it"
    }
}
