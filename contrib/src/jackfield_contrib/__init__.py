"""Adapters of jackfield that need a library of their own: doors, clients, stores, executors."""
