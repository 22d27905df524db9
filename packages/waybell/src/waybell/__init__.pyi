# Written by `make exports` from the packages' own `__all__`.
from waybell_adapters import AdapterError as AdapterError
from waybell_adapters import AnthropicAdapter as AnthropicAdapter
from waybell_adapters import BadReply as BadReply
from waybell_adapters import CallAttempt as CallAttempt
from waybell_adapters import ContextTooLong as ContextTooLong
from waybell_adapters import LLMAdapter as LLMAdapter
from waybell_adapters import ModelRefused as ModelRefused
from waybell_adapters import ModelUnavailable as ModelUnavailable
from waybell_adapters import OfflineAdapter as OfflineAdapter
from waybell_adapters import OllamaAdapter as OllamaAdapter
from waybell_adapters import OpenAIAdapter as OpenAIAdapter
from waybell_adapters import RateLimited as RateLimited
from waybell_adapters import Reply as Reply
from waybell_adapters import ReplyStream as ReplyStream
from waybell_adapters import ScriptedAdapter as ScriptedAdapter
from waybell_adapters import ToolCall as ToolCall
from waybell_adapters import Usage as Usage
from waybell_adapters import adapter as adapter
from waybell_adapters import agenerate as agenerate
from waybell_adapters import astream as astream
from waybell_agents import Agent as Agent
from waybell_agents import AgentConfig as AgentConfig
from waybell_agents import AgentError as AgentError
from waybell_agents import AgentReply as AgentReply
from waybell_agents import AgentStep as AgentStep
from waybell_agents import AgentStream as AgentStream
from waybell_agents import NoModelError as NoModelError
from waybell_agents import OpenMultiAgent as OpenMultiAgent
from waybell_agents import OutputError as OutputError
from waybell_agents import StepsExhausted as StepsExhausted
from waybell_agents import Team as Team
from waybell_agents import TeamFileError as TeamFileError
from waybell_budget import Budget as Budget
from waybell_budget import BudgetClosedError as BudgetClosedError
from waybell_budget import BudgetDeadlockError as BudgetDeadlockError
from waybell_budget import BudgetError as BudgetError
from waybell_budget import BudgetExceeded as BudgetExceeded
from waybell_budget import BudgetPool as BudgetPool
from waybell_budget import BudgetSnapshot as BudgetSnapshot
from waybell_budget import BudgetTimeoutError as BudgetTimeoutError
from waybell_budget import Partition as Partition
from waybell_budget import Price as Price
from waybell_budget import Spent as Spent
from waybell_budget import UnknownPriceError as UnknownPriceError
from waybell_bus import AmbiguousTopicError as AmbiguousTopicError
from waybell_bus import BusClosedError as BusClosedError
from waybell_bus import BusError as BusError
from waybell_bus import Event as Event
from waybell_bus import EventBus as EventBus
from waybell_bus import NestingError as NestingError
from waybell_bus import NoHandlerError as NoHandlerError
from waybell_bus import Outcome as Outcome
from waybell_bus import QueueFullError as QueueFullError
from waybell_bus import ReentrancyError as ReentrancyError
from waybell_bus import Subscription as Subscription
from waybell_bus import TopicError as TopicError
from waybell_deadline import Deadline as Deadline
from waybell_deadline import DeadlineExceeded as DeadlineExceeded
from waybell_deadline import Watch as Watch
from waybell_deadline import abandoned as abandoned
from waybell_deadline import carry as carry
from waybell_decisions import DecisionLog as DecisionLog
from waybell_decisions import LogWriteError as LogWriteError
from waybell_decisions import Records as Records
from waybell_decisions import Sealed as Sealed
from waybell_patterns import Broadcast as Broadcast
from waybell_patterns import BroadcastResult as BroadcastResult
from waybell_patterns import Degrade as Degrade
from waybell_patterns import Fallback as Fallback
from waybell_patterns import IncompleteError as IncompleteError
from waybell_patterns import PatternError as PatternError
from waybell_patterns import Pipeline as Pipeline
from waybell_patterns import PipelineResult as PipelineResult
from waybell_patterns import Retry as Retry
from waybell_patterns import Routed as Routed
from waybell_patterns import Router as Router
from waybell_patterns import Stage as Stage
from waybell_patterns import Supervised as Supervised
from waybell_patterns import Supervisor as Supervisor
from waybell_patterns import UnknownIntentError as UnknownIntentError
from waybell_patterns import Verdict as Verdict
from waybell_scheduler import AgentPool as AgentPool
from waybell_scheduler import CircuitOpenError as CircuitOpenError
from waybell_scheduler import CyclicDependencyError as CyclicDependencyError
from waybell_scheduler import Gap as Gap
from waybell_scheduler import JournalError as JournalError
from waybell_scheduler import Pending as Pending
from waybell_scheduler import RunResult as RunResult
from waybell_scheduler import SchedulerError as SchedulerError
from waybell_scheduler import Steps as Steps
from waybell_scheduler import Task as Task
from waybell_scheduler import TaskQueue as TaskQueue
from waybell_scheduler import TaskResult as TaskResult
from waybell_scheduler import aresume as aresume
from waybell_scheduler import arun as arun
from waybell_scheduler import resume as resume
from waybell_scheduler import run as run
from waybell_sim import DeadlockError as DeadlockError
from waybell_sim import Faults as Faults
from waybell_sim import InjectedCut as InjectedCut
from waybell_sim import InjectedRateLimit as InjectedRateLimit
from waybell_sim import InjectedTimeout as InjectedTimeout
from waybell_sim import LivelockError as LivelockError
from waybell_sim import NotSimulated as NotSimulated
from waybell_sim import SimulationFailed as SimulationFailed
from waybell_sim import SimulationReport as SimulationReport
from waybell_sim import simulate as simulate
from waybell_tools import ToolArgumentsError as ToolArgumentsError
from waybell_tools import ToolDenied as ToolDenied
from waybell_tools import ToolError as ToolError
from waybell_tools import ToolLimitError as ToolLimitError
from waybell_tools import ToolRegistry as ToolRegistry
from waybell_tools import ToolTimeoutError as ToolTimeoutError
from waybell_tools import UnknownToolError as UnknownToolError
from waybell_tools import http_get as http_get
from waybell_tools import list_files as list_files
from waybell_tools import read_file as read_file
from waybell_tools import shell as shell
from waybell_tools import write_file as write_file
from waybell_trace import Span as Span
from waybell_trace import SpanReader as SpanReader
from waybell_trace import SpanRecord as SpanRecord
from waybell_trace import SpanUsage as SpanUsage
from waybell_trace import Stats as Stats
from waybell_trace import Tracer as Tracer
from waybell_trace import Traces as Traces
from waybell_trace import propagate as propagate
from waybell_trace import read_traces as read_traces

__version__: str
__all__ = [
    "AdapterError",
    "Agent",
    "AgentConfig",
    "AgentError",
    "AgentPool",
    "AgentReply",
    "AgentStep",
    "AgentStream",
    "AmbiguousTopicError",
    "AnthropicAdapter",
    "BadReply",
    "Broadcast",
    "BroadcastResult",
    "Budget",
    "BudgetClosedError",
    "BudgetDeadlockError",
    "BudgetError",
    "BudgetExceeded",
    "BudgetPool",
    "BudgetSnapshot",
    "BudgetTimeoutError",
    "BusClosedError",
    "BusError",
    "CallAttempt",
    "CircuitOpenError",
    "ContextTooLong",
    "CyclicDependencyError",
    "Deadline",
    "DeadlineExceeded",
    "DeadlockError",
    "DecisionLog",
    "Degrade",
    "Event",
    "EventBus",
    "Fallback",
    "Faults",
    "Gap",
    "IncompleteError",
    "InjectedCut",
    "InjectedRateLimit",
    "InjectedTimeout",
    "JournalError",
    "LLMAdapter",
    "LivelockError",
    "LogWriteError",
    "ModelRefused",
    "ModelUnavailable",
    "NestingError",
    "NoHandlerError",
    "NoModelError",
    "NotSimulated",
    "OfflineAdapter",
    "OllamaAdapter",
    "OpenAIAdapter",
    "OpenMultiAgent",
    "Outcome",
    "OutputError",
    "Partition",
    "PatternError",
    "Pending",
    "Pipeline",
    "PipelineResult",
    "Price",
    "QueueFullError",
    "RateLimited",
    "Records",
    "ReentrancyError",
    "Reply",
    "ReplyStream",
    "Retry",
    "Routed",
    "Router",
    "RunResult",
    "SchedulerError",
    "ScriptedAdapter",
    "Sealed",
    "SimulationFailed",
    "SimulationReport",
    "Span",
    "SpanReader",
    "SpanRecord",
    "SpanUsage",
    "Spent",
    "Stage",
    "Stats",
    "Steps",
    "StepsExhausted",
    "Subscription",
    "Supervised",
    "Supervisor",
    "Task",
    "TaskQueue",
    "TaskResult",
    "Team",
    "TeamFileError",
    "ToolArgumentsError",
    "ToolCall",
    "ToolDenied",
    "ToolError",
    "ToolLimitError",
    "ToolRegistry",
    "ToolTimeoutError",
    "TopicError",
    "Tracer",
    "Traces",
    "UnknownIntentError",
    "UnknownPriceError",
    "UnknownToolError",
    "Usage",
    "Verdict",
    "Watch",
    "abandoned",
    "adapter",
    "agenerate",
    "aresume",
    "arun",
    "astream",
    "carry",
    "http_get",
    "list_files",
    "propagate",
    "read_file",
    "read_traces",
    "resume",
    "run",
    "shell",
    "simulate",
    "write_file",
]
