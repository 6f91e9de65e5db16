"""`strata sync`: a local folder and a remote tree become equal, and stay so.

Looking (scan, journal) makes trees, a pure planner makes a plan of them, and an executor carries it out. Whatever
happens in between, the next look sees what is, and the next plan is about that: there is no half-done state to repair.
"""
