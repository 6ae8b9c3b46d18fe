import ArgumentParser
import Migration

extension Switchover: ExpressibleByArgument {}
