"""The contracts of model families and providers, as test classes to inherit.

::

    from bedrock_async.testing import FamilyContract, FamilySample

    class TestAcme(FamilyContract):
        samples = (
            FamilySample(
                model="acme.chat-1",
                native_response={"text": "Hello.", "finish": "stop"},
                chunks=({"text": "Hel"}, {"text": "lo.", "finish": "stop"}),
                text="Hello.",
                stop_reason="end_turn",
            ),
        )

        def family(self):
            return AcmeFamily()

pytest collects the inherited tests; nothing here imports it. The samples are processed like real traffic: through the
invoke provider, from HTTP responses and event-stream frames to responses and events.
"""

from __future__ import annotations

from .family_contract import FamilyContract, FamilySample
from .provider_contract import ProviderContract, ProviderSample
from .task_contract import TaskContract, TaskSample

__all__ = ["FamilyContract", "FamilySample", "ProviderContract", "ProviderSample", "TaskContract", "TaskSample"]
