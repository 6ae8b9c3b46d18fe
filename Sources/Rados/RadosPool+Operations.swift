import Foundation

/// Compound operations on one object.
extension RadosPool {
    /// Changes an object in one step.
    /// - Parameter codes: Codes that are an answer and no error.
    /// - Returns: 0, or the negative code.
    @discardableResult
    package func change(
        _ object: String, _ changes: [RadosChange], allowing codes: Set<CInt> = []
    ) throws(RadosError) -> CInt {
        try call("change", object, allowing: codes) { library, context in
            guard let operation = library.createWrite() else { return -ENOMEM }
            defer { library.releaseWrite(operation) }
            for change in changes { Self.add(change, to: operation, library) }
            return library.performWrite(operation, context, object, nil, 0)
        }
    }

    /// The library copies all that it is given here.
    private static func add(_ change: RadosChange, to operation: RadosLibrary.Handle, _ library: RadosLibrary) {
        let (idempotent, exclusive, equal): (CInt, CInt, UInt8) = (0, 1, 1)
        switch change {
        case .create: library.writeCreate(operation, exclusive, nil)
        case .createIfAbsent: library.writeCreate(operation, idempotent, nil)
        case .expect(let name, let value): library.writeCompare(operation, name, equal, value, value.utf8.count)
        case .setAttribute(let name, let value): library.writeAttribute(operation, name, value, value.utf8.count)
        case .contents(let data): data.withUnsafeBytes { library.writeBytes(operation, $0.baseAddress, $0.count) }
        case .set(let key, let value):
            withBytes(of: Array(key.utf8)) { key, keyLength in
                value.withUnsafeBytes { value in
                    var (keys, values): (UnsafePointer<CChar>?, UnsafePointer<CChar>?) = (
                        key, value.bindMemory(to: CChar.self).baseAddress
                    )
                    var (keyLength, valueLength) = (keyLength, value.count)
                    library.writeKeys(operation, &keys, &values, &keyLength, &valueLength, 1)
                }
            }
        case .removeEntry(let key):
            withBytes(of: key) { key, length in
                var (keys, length): (UnsafePointer<CChar>?, Int) = (key, length)
                library.writeRemovingKeys(operation, &keys, &length, 1)
            }
        }
    }

    /// Calls a function with a key as the library takes it; a key may have zeros.
    static func withBytes(of key: [UInt8], _ body: (UnsafePointer<CChar>?, Int) -> Void) {
        key.withUnsafeBytes { body($0.bindMemory(to: CChar.self).baseAddress, $0.count) }
    }
}
