"""Benchmark `gangs`: 100 TrainingJobs of 16 pods beside 100 plain batch/v1 Jobs of 16 pods, as in `jobs`. `make bench NAME=gangs`."""

from tests.bench.jobs import main

if __name__ == "__main__":
    main("gangs", count=100, pods=16)
