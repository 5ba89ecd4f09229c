"""JSON as Django writes it: dates, times, decimals, UUIDs and lazy texts, as strings."""

from django.core.serializers.json import DjangoJSONEncoder

from gearmanny.vocabulary.encoders import JSONDataEncoder
from gearmanny.worker import JsonWorker


class DjangoJSONDataEncoder(JSONDataEncoder):
    """The encoder of payloads: JSON by `DjangoJSONEncoder`, whose strings arrive as strings."""

    json_encoder = DjangoJSONEncoder


class DjangoJsonWorker(JsonWorker):
    """The `work_class` under `runworkers` of workers that chose none."""

    data_encoder = DjangoJSONDataEncoder
