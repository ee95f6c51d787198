"""What an exercise has in its hands."""

import dataclasses

import api
import balancer
import fleet
import load
import report
import watch


@dataclasses.dataclass
class Stand:
    """Everything runs and is known to each other; the images are uploaded, the sockets connected."""

    seconds: float
    requests: int
    copies: fleet.Fleet
    front: balancer.Balancer
    api: api.Api
    looking: watch.Watch
    images: list
    found: report.Report

    def load(self, pace):
        return load.Load(self.front.door, self.api.token, self.images, pace)
