"""The first run on a GPU: does what is tested with stand-ins elsewhere hold on a real one?"""
