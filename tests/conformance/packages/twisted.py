"""A hundred messages to and fro between a client and a server of one reactor."""

import time

from twisted.internet import protocol, reactor

received = []


class Echo(protocol.Protocol):
    def dataReceived(self, data):
        self.transport.write(data)


class Ask(protocol.Protocol):
    def connectionMade(self):
        self.transport.write(b"x")

    def dataReceived(self, data):
        received.append(data)
        if len(received) == 100:
            reactor.stop()
        else:
            self.transport.write(data)


def begin():
    port = reactor.listenTCP(0, protocol.Factory.forProtocol(Echo), interface="127.0.0.1").getHost().port
    reactor.connectTCP("127.0.0.1", port, protocol.ClientFactory.forProtocol(Ask))


reactor.callWhenRunning(begin)
reactor.run()
print(len(received), set(received))
print("~", time.time())
