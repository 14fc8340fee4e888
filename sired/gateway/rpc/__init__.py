"""The Open Inference Protocol, version 2, over gRPC; imported only if it is asked for."""
