"""Access: who may call, and what each token allows.

A call passes these checks in order: its token and its method before its first message is read
(`Authorizer.authenticate`), then the names and the cost of each request (`Authorizer.authorize_and_run`).
May import collection and triton, for the names of collections and models, and what is below them.
"""
