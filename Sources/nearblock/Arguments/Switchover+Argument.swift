import ArgumentParser
import Migration
import MigrationProtocol

extension Switchover: ExpressibleByArgument {}
