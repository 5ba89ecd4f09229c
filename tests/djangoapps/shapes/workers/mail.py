"""A worker in a module of the package, with an abstract base that has a name already."""

import abc

from gearmanny.worker import BaseWorker


class Sender(BaseWorker, abc.ABC):
    name = "mail"

    @abc.abstractmethod
    def deliver(self, text): ...

    def task_send(self, text):
        return self.deliver(text)


class Mail(Sender):
    def deliver(self, text):
        return f"sent {text}"
