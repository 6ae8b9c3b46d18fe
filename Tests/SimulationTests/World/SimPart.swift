/// A part of a simulation that holds closures or other parts, and so may be held by what it holds.
protocol SimPart: AnyObject {
    /// Lets go of everything that may hold this part; the simulation is over, and nothing happens any more.
    func letGo()
}
