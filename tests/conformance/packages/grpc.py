"""Calls to a server with a pool of four threads, over the library's own event engine."""

import time
from concurrent import futures

import grpc


class Reversing(grpc.GenericRpcHandler):
    def service(self, call):
        return grpc.unary_unary_rpc_method_handler(lambda request, context: request[::-1])


server = grpc.server(futures.ThreadPoolExecutor(4))
server.add_generic_rpc_handlers((Reversing(),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
    call = channel.unary_unary("/service/method")
    answers = [call(b"message %d" % i) for i in range(30)]
server.stop(0).wait()
print(answers[-1], len(answers))
print("~", time.time(), port)
