/* fhir/r4.c -- the resource types of R4, a row each, and how a row is read.
 *
 * A row lists the top-level elements as the standard's StructureDefinitions have
 * them:  name, then  *  it repeats  !  it is required,  then its kind:  nothing, a
 * complex type;  :s  a primitive written as a JSON string;  :b  boolean;  :n  a
 * number;  "[x]"  a choice of types ("value[x]": valueQuantity, valueString…).  "="
 * lists the codes of a required binding, where they are few. */
#include "fhir/r4.h"

#include <stdlib.h>

const r4_type r4_types[] = {
    { "Account",
      "identifier* status!:s=active|inactive|entered-in-error|on-hold|unknown type name:s subject* "
      "servicePeriod coverage* owner description:s guarantor* partOf" },
    { "ActivityDefinition",
      "url:s identifier* version:s name:s title:s subtitle:s status!:s=draft|active|retired|unknown "
      "experimental:b subject[x] date:s publisher:s contact* description:s useContext* jurisdiction* "
      "purpose:s usage:s copyright:s approvalDate:s lastReviewDate:s effectivePeriod topic* author* "
      "editor* reviewer* endorser* relatedArtifact* library*:s "
      "kind:s=Appointment|AppointmentResponse|CarePlan|Claim|CommunicationRequest|Contract|DeviceRequest|EnrollmentRequest|ImmunizationRecommendation|MedicationRequest|NutritionOrder|ServiceRequest|SupplyRequest|Task|VisionPrescription "
      "profile:s code "
      "intent:s=proposal|plan|directive|order|original-order|reflex-order|filler-order|instance-order|option "
      "priority:s=routine|urgent|asap|stat doNotPerform:b timing[x] location participant* product[x] "
      "quantity dosage* bodySite* specimenRequirement* observationRequirement* "
      "observationResultRequirement* transform:s dynamicValue*" },
    { "AdverseEvent",
      "identifier actuality!:s=actual|potential category* event subject! encounter date:s detected:s "
      "recordedDate:s resultingCondition* location seriousness severity outcome recorder contributor* "
      "suspectEntity* subjectMedicalHistory* referenceDocument* study*" },
    { "AllergyIntolerance",
      "identifier* clinicalStatus verificationStatus type:s=allergy|intolerance "
      "category*:s=food|medication|environment|biologic criticality:s=low|high|unable-to-assess code "
      "patient! encounter onset[x] recordedDate:s recorder asserter lastOccurrence:s note* reaction*" },
    { "Appointment",
      "identifier* "
      "status!:s=proposed|pending|booked|arrived|fulfilled|cancelled|noshow|entered-in-error|checked-in|waitlist "
      "cancelationReason serviceCategory* serviceType* specialty* appointmentType reasonCode* "
      "reasonReference* priority:n description:s supportingInformation* start:s end:s minutesDuration:n "
      "slot* created:s comment:s patientInstruction:s basedOn* participant*! requestedPeriod*" },
    { "AppointmentResponse",
      "identifier* appointment! start:s end:s participantType* actor "
      "participantStatus!:s=accepted|declined|tentative|needs-action comment:s" },
    { "AuditEvent",
      "type! subtype* action:s=C|R|U|D|E period recorded!:s outcome:s=0|4|8|12 outcomeDesc:s "
      "purposeOfEvent* agent*! source! entity*" },
    { "Basic",
      "identifier* code! subject created:s author" },
    { "Binary",
      "contentType!:s securityContext data:s" },
    { "BiologicallyDerivedProduct",
      "identifier* productCategory:s=organ|tissue|fluid|cells|biologicalAgent productCode "
      "status:s=available|unavailable request* quantity:n parent* collection processing* manipulation "
      "storage*" },
    { "BodyStructure",
      "identifier* active:b morphology location locationQualifier* description:s image* patient!" },
    { "Bundle",
      "identifier "
      "type!:s=document|message|transaction|transaction-response|batch|batch-response|history|searchset|collection "
      "timestamp:s total:n link* entry* signature" },
    { "CapabilityStatement",
      "url:s version:s name:s title:s status!:s=draft|active|retired|unknown experimental:b date!:s "
      "publisher:s contact* description:s useContext* jurisdiction* purpose:s copyright:s "
      "kind!:s=instance|capability|requirements instantiates*:s imports*:s software implementation "
      "fhirVersion!:s=0.01|0.05|0.06|0.11|0.0.80|0.0.81|0.0.82|0.4.0|0.5.0|1.0.0|1.0.1|1.0.2|1.1.0|1.4.0|1.6.0|1.8.0|3.0.0|3.0.1|3.3.0|3.5.0|4.0.0|4.0.1 "
      "format*!:s patchFormat*:s implementationGuide*:s rest* messaging* document*" },
    { "CarePlan",
      "identifier* instantiatesCanonical*:s instantiatesUri*:s basedOn* replaces* partOf* "
      "status!:s=draft|active|on-hold|revoked|completed|entered-in-error|unknown "
      "intent!:s=proposal|plan|order|option category* title:s description:s subject! encounter period "
      "created:s author contributor* careTeam* addresses* supportingInfo* goal* activity* note*" },
    { "CareTeam",
      "identifier* status:s=proposed|active|suspended|inactive|entered-in-error category* name:s "
      "subject encounter period participant* reasonCode* reasonReference* managingOrganization* "
      "telecom* note*" },
    { "CatalogEntry",
      "identifier* type orderable!:b referencedItem! additionalIdentifier* classification* "
      "status:s=draft|active|retired|unknown validityPeriod validTo:s lastUpdated:s "
      "additionalCharacteristic* additionalClassification* relatedEntry*" },
    { "ChargeItem",
      "identifier* definitionUri*:s definitionCanonical*:s "
      "status!:s=planned|billable|not-billable|aborted|billed|entered-in-error|unknown partOf* code! "
      "subject! context occurrence[x] performer* performingOrganization requestingOrganization "
      "costCenter quantity bodysite* factorOverride:n priceOverride overrideReason:s enterer "
      "enteredDate:s reason* service* product[x] account* note* supportingInformation*" },
    { "ChargeItemDefinition",
      "url!:s identifier* version:s title:s derivedFromUri*:s partOf*:s replaces*:s "
      "status!:s=draft|active|retired|unknown experimental:b date:s publisher:s contact* description:s "
      "useContext* jurisdiction* copyright:s approvalDate:s lastReviewDate:s effectivePeriod code "
      "instance* applicability* propertyGroup*" },
    { "Claim",
      "identifier* status!:s=active|cancelled|draft|entered-in-error type! subType "
      "use!:s=claim|preauthorization|predetermination patient! billablePeriod created!:s enterer "
      "insurer provider! priority! fundsReserve related* prescription originalPrescription payee "
      "referral facility careTeam* supportingInfo* diagnosis* procedure* insurance*! accident item* "
      "total" },
    { "ClaimResponse",
      "identifier* status!:s=active|cancelled|draft|entered-in-error type! subType "
      "use!:s=claim|preauthorization|predetermination patient! created!:s insurer! requestor request "
      "outcome!:s=queued|complete|error|partial disposition:s preAuthRef:s preAuthPeriod payeeType "
      "item* addItem* adjudication* total* payment fundsReserve formCode form processNote* "
      "communicationRequest* insurance* error*" },
    { "ClinicalImpression",
      "identifier* status!:s=in-progress|completed|entered-in-error statusReason code description:s "
      "subject! encounter effective[x] date:s assessor previous problem* investigation* protocol*:s "
      "summary:s finding* prognosisCodeableConcept* prognosisReference* supportingInfo* note*" },
    { "CodeSystem",
      "url:s identifier* version:s name:s title:s status!:s=draft|active|retired|unknown experimental:b "
      "date:s publisher:s contact* description:s useContext* jurisdiction* purpose:s copyright:s "
      "caseSensitive:b valueSet:s hierarchyMeaning:s=grouped-by|is-a|part-of|classified-with "
      "compositional:b versionNeeded:b content!:s=not-present|example|fragment|complete|supplement "
      "supplements:s count:n filter* property* concept*" },
    { "Communication",
      "identifier* instantiatesCanonical*:s instantiatesUri*:s basedOn* partOf* inResponseTo* "
      "status!:s=preparation|in-progress|not-done|on-hold|stopped|completed|entered-in-error|unknown "
      "statusReason category* priority:s=routine|urgent|asap|stat medium* subject topic about* "
      "encounter sent:s received:s recipient* sender reasonCode* reasonReference* payload* note*" },
    { "CommunicationRequest",
      "identifier* basedOn* replaces* groupIdentifier "
      "status!:s=draft|active|on-hold|revoked|completed|entered-in-error|unknown statusReason category* "
      "priority:s=routine|urgent|asap|stat doNotPerform:b medium* subject about* encounter payload* "
      "occurrence[x] authoredOn:s requester recipient* sender reasonCode* reasonReference* note*" },
    { "CompartmentDefinition",
      "url!:s version:s name!:s status!:s=draft|active|retired|unknown experimental:b date:s "
      "publisher:s contact* description:s useContext* purpose:s "
      "code!:s=Patient|Encounter|RelatedPerson|Practitioner|Device search!:b resource*" },
    { "Composition",
      "identifier status!:s=preliminary|final|amended|entered-in-error type! category* subject "
      "encounter date!:s author*! title!:s confidentiality:s attester* custodian relatesTo* event* "
      "section*" },
    { "ConceptMap",
      "url:s identifier version:s name:s title:s status!:s=draft|active|retired|unknown experimental:b "
      "date:s publisher:s contact* description:s useContext* jurisdiction* purpose:s copyright:s "
      "source[x] target[x] group*" },
    { "Condition",
      "identifier* clinicalStatus verificationStatus category* severity code bodySite* subject! "
      "encounter onset[x] abatement[x] recordedDate:s recorder asserter stage* evidence* note*" },
    { "Consent",
      "identifier* status!:s=draft|proposed|active|rejected|inactive|entered-in-error scope! category*! "
      "patient dateTime:s performer* organization* source[x] policy* policyRule verification* provision" },
    { "Contract",
      "identifier* url:s version:s "
      "status:s=amended|appended|cancelled|disputed|entered-in-error|executable|executed|negotiable|offered|policy|rejected|renewed|revoked|resolved|terminated "
      "legalState instantiatesCanonical instantiatesUri:s contentDerivative issued:s applies "
      "expirationType subject* authority* domain* site* name:s title:s subtitle:s alias*:s author scope "
      "topic[x] type subType* contentDefinition term* supportingInfo* relevantHistory* signer* "
      "friendly* legal* rule* legallyBinding[x]" },
    { "Coverage",
      "identifier* status!:s=active|cancelled|draft|entered-in-error type policyHolder subscriber "
      "subscriberId:s beneficiary! dependent:s relationship period payor*! class* order:n network:s "
      "costToBeneficiary* subrogation:b contract*" },
    { "CoverageEligibilityRequest",
      "identifier* status!:s=active|cancelled|draft|entered-in-error priority "
      "purpose*!:s=auth-requirements|benefits|discovery|validation patient! serviced[x] created!:s "
      "enterer provider insurer! facility supportingInfo* insurance* item*" },
    { "CoverageEligibilityResponse",
      "identifier* status!:s=active|cancelled|draft|entered-in-error "
      "purpose*!:s=auth-requirements|benefits|discovery|validation patient! serviced[x] created!:s "
      "requestor request! outcome!:s=queued|complete|error|partial disposition:s insurer! insurance* "
      "preAuthRef:s form error*" },
    { "DetectedIssue",
      "identifier* status!:s=preliminary|final|entered-in-error|mitigated code "
      "severity:s=high|moderate|low patient identified[x] author implicated* evidence* detail:s "
      "reference:s mitigation*" },
    { "Device",
      "identifier* definition udiCarrier* status:s=active|inactive|entered-in-error|unknown "
      "statusReason* distinctIdentifier:s manufacturer:s manufactureDate:s expirationDate:s lotNumber:s "
      "serialNumber:s deviceName* modelNumber:s partNumber:s type specialization* version* property* "
      "patient owner contact* location url:s note* safety* parent" },
    { "DeviceDefinition",
      "identifier* udiDeviceIdentifier* manufacturer[x] deviceName* modelNumber:s type specialization* "
      "version*:s safety* shelfLifeStorage* physicalCharacteristics languageCode* capability* property* "
      "owner contact* url:s onlineInformation:s note* quantity parentDevice material*" },
    { "DeviceMetric",
      "identifier* type! unit source parent operationalStatus:s=on|off|standby|entered-in-error "
      "color:s=black|red|green|yellow|blue|magenta|cyan|white "
      "category!:s=measurement|setting|calculation|unspecified measurementPeriod calibration*" },
    { "DeviceRequest",
      "identifier* instantiatesCanonical*:s instantiatesUri*:s basedOn* priorRequest* groupIdentifier "
      "status:s=draft|active|on-hold|revoked|completed|entered-in-error|unknown "
      "intent!:s=proposal|plan|directive|order|original-order|reflex-order|filler-order|instance-order|option "
      "priority:s=routine|urgent|asap|stat code[x]! parameter* subject! encounter occurrence[x] "
      "authoredOn:s requester performerType performer reasonCode* reasonReference* insurance* "
      "supportingInfo* note* relevantHistory*" },
    { "DeviceUseStatement",
      "identifier* basedOn* status!:s=active|completed|entered-in-error|intended|stopped|on-hold "
      "subject! derivedFrom* timing[x] recordedOn:s source device! reasonCode* reasonReference* "
      "bodySite note*" },
    { "DiagnosticReport",
      "identifier* basedOn* "
      "status!:s=registered|partial|preliminary|final|amended|corrected|appended|cancelled|entered-in-error|unknown "
      "category* code! subject encounter effective[x] issued:s performer* resultsInterpreter* specimen* "
      "result* imagingStudy* media* conclusion:s conclusionCode* presentedForm*" },
    { "DocumentManifest",
      "masterIdentifier identifier* status!:s=current|superseded|entered-in-error type subject "
      "created:s author* recipient* source:s description:s content*! related*" },
    { "DocumentReference",
      "masterIdentifier identifier* status!:s=current|superseded|entered-in-error "
      "docStatus:s=preliminary|final|amended|entered-in-error type category* subject date:s author* "
      "authenticator custodian relatesTo* description:s securityLabel* content*! context" },
    { "EffectEvidenceSynthesis",
      "url:s identifier* version:s name:s title:s status!:s=draft|active|retired|unknown date:s "
      "publisher:s contact* description:s note* useContext* jurisdiction* copyright:s approvalDate:s "
      "lastReviewDate:s effectivePeriod topic* author* editor* reviewer* endorser* relatedArtifact* "
      "synthesisType studyType population! exposure! exposureAlternative! outcome! sampleSize "
      "resultsByExposure* effectEstimate* certainty*" },
    { "Encounter",
      "identifier* "
      "status!:s=planned|arrived|triaged|in-progress|onleave|finished|cancelled|entered-in-error|unknown "
      "statusHistory* class! classHistory* type* serviceType priority subject episodeOfCare* basedOn* "
      "participant* appointment* period length reasonCode* reasonReference* diagnosis* account* "
      "hospitalization location* serviceProvider partOf" },
    { "Endpoint",
      "identifier* status!:s=active|suspended|error|off|entered-in-error|test connectionType! name:s "
      "managingOrganization contact* period payloadType*! payloadMimeType*:s address!:s header*:s" },
    { "EnrollmentRequest",
      "identifier* status:s=active|cancelled|draft|entered-in-error created:s insurer provider "
      "candidate coverage" },
    { "EnrollmentResponse",
      "identifier* status:s=active|cancelled|draft|entered-in-error request "
      "outcome:s=queued|complete|error|partial disposition:s created:s organization requestProvider" },
    { "EpisodeOfCare",
      "identifier* status!:s=planned|waitlist|active|onhold|finished|cancelled|entered-in-error "
      "statusHistory* type* diagnosis* patient! managingOrganization period referralRequest* "
      "careManager team* account*" },
    { "EventDefinition",
      "url:s identifier* version:s name:s title:s subtitle:s status!:s=draft|active|retired|unknown "
      "experimental:b subject[x] date:s publisher:s contact* description:s useContext* jurisdiction* "
      "purpose:s usage:s copyright:s approvalDate:s lastReviewDate:s effectivePeriod topic* author* "
      "editor* reviewer* endorser* relatedArtifact* trigger*!" },
    { "Evidence",
      "url:s identifier* version:s name:s title:s shortTitle:s subtitle:s "
      "status!:s=draft|active|retired|unknown date:s publisher:s contact* description:s note* "
      "useContext* jurisdiction* copyright:s approvalDate:s lastReviewDate:s effectivePeriod topic* "
      "author* editor* reviewer* endorser* relatedArtifact* exposureBackground! exposureVariant* "
      "outcome*" },
    { "EvidenceVariable",
      "url:s identifier* version:s name:s title:s shortTitle:s subtitle:s "
      "status!:s=draft|active|retired|unknown date:s publisher:s contact* description:s note* "
      "useContext* jurisdiction* copyright:s approvalDate:s lastReviewDate:s effectivePeriod topic* "
      "author* editor* reviewer* endorser* relatedArtifact* type:s=dichotomous|continuous|descriptive "
      "characteristic*" },
    { "ExampleScenario",
      "url:s identifier* version:s name:s status!:s=draft|active|retired|unknown experimental:b date:s "
      "publisher:s contact* useContext* jurisdiction* copyright:s purpose:s actor* instance* process* "
      "workflow*:s" },
    { "ExplanationOfBenefit",
      "identifier* status!:s=active|cancelled|draft|entered-in-error type! subType "
      "use!:s=claim|preauthorization|predetermination patient! billablePeriod created!:s enterer "
      "insurer! provider! priority fundsReserveRequested fundsReserve related* prescription "
      "originalPrescription payee referral facility claim claimResponse "
      "outcome!:s=queued|complete|error|partial disposition:s preAuthRef*:s preAuthRefPeriod* careTeam* "
      "supportingInfo* diagnosis* procedure* precedence:n insurance*! accident item* addItem* "
      "adjudication* total* payment formCode form processNote* benefitPeriod benefitBalance*" },
    { "FamilyMemberHistory",
      "identifier* instantiatesCanonical*:s instantiatesUri*:s "
      "status!:s=partial|completed|entered-in-error|health-unknown dataAbsentReason patient! date:s "
      "name:s relationship! sex born[x] age[x] estimatedAge:b deceased[x] reasonCode* reasonReference* "
      "note* condition*" },
    { "Flag",
      "identifier* status!:s=active|inactive|entered-in-error category* code! subject! period encounter "
      "author" },
    { "Goal",
      "identifier* "
      "lifecycleStatus!:s=proposed|planned|accepted|active|on-hold|completed|cancelled|entered-in-error|rejected "
      "achievementStatus category* priority description! subject! start[x] target* statusDate:s "
      "statusReason:s expressedBy addresses* note* outcomeCode* outcomeReference*" },
    { "GraphDefinition",
      "url:s version:s name!:s status!:s=draft|active|retired|unknown experimental:b date:s publisher:s "
      "contact* description:s useContext* jurisdiction* purpose:s start!:s profile:s link*" },
    { "Group",
      "identifier* active:b type!:s=person|animal|practitioner|device|medication|substance actual!:b "
      "code name:s quantity:n managingEntity characteristic* member*" },
    { "GuidanceResponse",
      "requestIdentifier identifier* module[x]! "
      "status!:s=success|data-requested|data-required|in-progress|failure|entered-in-error subject "
      "encounter occurrenceDateTime:s performer reasonCode* reasonReference* note* evaluationMessage* "
      "outputParameters result dataRequirement*" },
    { "HealthcareService",
      "identifier* active:b providedBy category* type* specialty* location* name:s comment:s "
      "extraDetails:s photo telecom* coverageArea* serviceProvisionCode* eligibility* program* "
      "characteristic* communication* referralMethod* appointmentRequired:b availableTime* "
      "notAvailable* availabilityExceptions:s endpoint*" },
    { "ImagingStudy",
      "identifier* status!:s=registered|available|cancelled|entered-in-error|unknown modality* subject! "
      "encounter started:s basedOn* referrer interpreter* endpoint* numberOfSeries:n "
      "numberOfInstances:n procedureReference procedureCode* location reasonCode* reasonReference* "
      "note* description:s series*" },
    { "Immunization",
      "identifier* status!:s=completed|entered-in-error|not-done statusReason vaccineCode! patient! "
      "encounter occurrence[x]! recorded:s primarySource:b reportOrigin location manufacturer "
      "lotNumber:s expirationDate:s site route doseQuantity performer* note* reasonCode* "
      "reasonReference* isSubpotent:b subpotentReason* education* programEligibility* fundingSource "
      "reaction* protocolApplied*" },
    { "ImmunizationEvaluation",
      "identifier* status!:s=completed|entered-in-error patient! date:s authority targetDisease! "
      "immunizationEvent! doseStatus! doseStatusReason* description:s series:s doseNumber[x] "
      "seriesDoses[x]" },
    { "ImmunizationRecommendation",
      "identifier* patient! date!:s authority recommendation*!" },
    { "ImplementationGuide",
      "url!:s version:s name!:s title:s status!:s=draft|active|retired|unknown experimental:b date:s "
      "publisher:s contact* description:s useContext* jurisdiction* copyright:s packageId!:s license:s "
      "fhirVersion*!:s=0.01|0.05|0.06|0.11|0.0.80|0.0.81|0.0.82|0.4.0|0.5.0|1.0.0|1.0.1|1.0.2|1.1.0|1.4.0|1.6.0|1.8.0|3.0.0|3.0.1|3.3.0|3.5.0|4.0.0|4.0.1 "
      "dependsOn* global* definition manifest" },
    { "InsurancePlan",
      "identifier* status:s=draft|active|retired|unknown type* name:s alias*:s period ownedBy "
      "administeredBy coverageArea* contact* endpoint* network* coverage* plan*" },
    { "Invoice",
      "identifier* status!:s=draft|issued|balanced|cancelled|entered-in-error cancelledReason:s type "
      "subject recipient date:s participant* issuer account lineItem* totalPriceComponent* totalNet "
      "totalGross paymentTerms:s note*" },
    { "Library",
      "url:s identifier* version:s name:s title:s subtitle:s status!:s=draft|active|retired|unknown "
      "experimental:b type! subject[x] date:s publisher:s contact* description:s useContext* "
      "jurisdiction* purpose:s usage:s copyright:s approvalDate:s lastReviewDate:s effectivePeriod "
      "topic* author* editor* reviewer* endorser* relatedArtifact* parameter* dataRequirement* content*" },
    { "Linkage",
      "active:b author item*!" },
    { "List",
      "identifier* status!:s=current|retired|entered-in-error mode!:s=working|snapshot|changes title:s "
      "code subject encounter date:s source orderedBy note* entry* emptyReason" },
    { "Location",
      "identifier* status:s=active|suspended|inactive operationalStatus name:s alias*:s description:s "
      "mode:s=instance|kind type* telecom* address physicalType position managingOrganization partOf "
      "hoursOfOperation* availabilityExceptions:s endpoint*" },
    { "Measure",
      "url:s identifier* version:s name:s title:s subtitle:s status!:s=draft|active|retired|unknown "
      "experimental:b subject[x] date:s publisher:s contact* description:s useContext* jurisdiction* "
      "purpose:s usage:s copyright:s approvalDate:s lastReviewDate:s effectivePeriod topic* author* "
      "editor* reviewer* endorser* relatedArtifact* library*:s disclaimer:s scoring compositeScoring "
      "type* riskAdjustment:s rateAggregation:s rationale:s clinicalRecommendationStatement:s "
      "improvementNotation definition*:s guidance:s group* supplementalData*" },
    { "MeasureReport",
      "identifier* status!:s=complete|pending|error "
      "type!:s=individual|subject-list|summary|data-collection measure!:s subject date:s reporter "
      "period! improvementNotation group* evaluatedResource*" },
    { "Media",
      "identifier* basedOn* partOf* "
      "status!:s=preparation|in-progress|not-done|on-hold|stopped|completed|entered-in-error|unknown "
      "type modality view subject encounter created[x] issued:s operator reasonCode* bodySite "
      "deviceName:s device height:n width:n frames:n duration:n content! note*" },
    { "Medication",
      "identifier* code status:s=active|inactive|entered-in-error manufacturer form amount ingredient* "
      "batch" },
    { "MedicationAdministration",
      "identifier* instantiates*:s partOf* "
      "status!:s=in-progress|not-done|on-hold|completed|entered-in-error|stopped|unknown statusReason* "
      "category medication[x]! subject! context supportingInformation* effective[x]! performer* "
      "reasonCode* reasonReference* request device* note* dosage eventHistory*" },
    { "MedicationDispense",
      "identifier* partOf* "
      "status!:s=preparation|in-progress|cancelled|on-hold|completed|entered-in-error|stopped|declined|unknown "
      "statusReason[x] category medication[x]! subject context supportingInformation* performer* "
      "location authorizingPrescription* type quantity daysSupply whenPrepared:s whenHandedOver:s "
      "destination receiver* note* dosageInstruction* substitution detectedIssue* eventHistory*" },
    { "MedicationKnowledge",
      "code status:s=active|inactive|entered-in-error manufacturer doseForm amount synonym*:s "
      "relatedMedicationKnowledge* associatedMedication* productType* monograph* ingredient* "
      "preparationInstruction:s intendedRoute* cost* monitoringProgram* administrationGuidelines* "
      "medicineClassification* packaging drugCharacteristic* contraindication* regulatory* kinetics*" },
    { "MedicationRequest",
      "identifier* status!:s=active|on-hold|cancelled|completed|entered-in-error|stopped|draft|unknown "
      "statusReason "
      "intent!:s=proposal|plan|order|original-order|reflex-order|filler-order|instance-order|option "
      "category* priority:s=routine|urgent|asap|stat doNotPerform:b reported[x] medication[x]! subject! "
      "encounter supportingInformation* authoredOn:s requester performer performerType recorder "
      "reasonCode* reasonReference* instantiatesCanonical*:s instantiatesUri*:s basedOn* "
      "groupIdentifier courseOfTherapyType insurance* note* dosageInstruction* dispenseRequest "
      "substitution priorPrescription detectedIssue* eventHistory*" },
    { "MedicationStatement",
      "identifier* basedOn* partOf* "
      "status!:s=active|completed|entered-in-error|intended|stopped|on-hold|unknown|not-taken "
      "statusReason* category medication[x]! subject! context effective[x] dateAsserted:s "
      "informationSource derivedFrom* reasonCode* reasonReference* note* dosage*" },
    { "MedicinalProduct",
      "identifier* type domain combinedPharmaceuticalDoseForm legalStatusOfSupply "
      "additionalMonitoringIndicator specialMeasures*:s paediatricUseIndicator productClassification* "
      "marketingStatus* pharmaceuticalProduct* packagedMedicinalProduct* attachedDocument* masterFile* "
      "contact* clinicalTrial* name*! crossReference* manufacturingBusinessOperation* "
      "specialDesignation*" },
    { "MedicinalProductAuthorization",
      "identifier* subject country* jurisdiction* status statusDate:s restoreDate:s validityPeriod "
      "dataExclusivityPeriod dateOfFirstAuthorization:s internationalBirthDate:s legalBasis "
      "jurisdictionalAuthorization* holder regulator procedure" },
    { "MedicinalProductContraindication",
      "subject* disease diseaseStatus comorbidity* therapeuticIndication* otherTherapy* population*" },
    { "MedicinalProductIndication",
      "subject* diseaseSymptomProcedure diseaseStatus comorbidity* intendedEffect duration "
      "otherTherapy* undesirableEffect* population*" },
    { "MedicinalProductIngredient",
      "identifier role! allergenicIndicator:b manufacturer* specifiedSubstance* substance" },
    { "MedicinalProductInteraction",
      "subject* description:s interactant* type effect incidence management" },
    { "MedicinalProductManufactured",
      "manufacturedDoseForm! unitOfPresentation quantity! manufacturer* ingredient* "
      "physicalCharacteristics otherCharacteristics*" },
    { "MedicinalProductPackaged",
      "identifier* subject* description:s legalStatusOfSupply marketingStatus* marketingAuthorization "
      "manufacturer* batchIdentifier* packageItem*!" },
    { "MedicinalProductPharmaceutical",
      "identifier* administrableDoseForm! unitOfPresentation ingredient* device* characteristics* "
      "routeOfAdministration*!" },
    { "MedicinalProductUndesirableEffect",
      "subject* symptomConditionEffect classification frequencyOfOccurrence population*" },
    { "MessageDefinition",
      "url:s identifier* version:s name:s title:s replaces*:s status!:s=draft|active|retired|unknown "
      "experimental:b date!:s publisher:s contact* description:s useContext* jurisdiction* purpose:s "
      "copyright:s base:s parent*:s event[x]! category:s=consequence|currency|notification focus* "
      "responseRequired:s=always|on-error|never|on-success allowedResponse* graph*:s" },
    { "MessageHeader",
      "event[x]! destination* sender enterer author source! responsible reason response focus* "
      "definition:s" },
    { "MolecularSequence",
      "identifier* type:s=aa|dna|rna coordinateSystem!:n patient specimen device performer quantity "
      "referenceSeq variant* observedSeq:s quality* readCoverage:n repository* pointer* "
      "structureVariant*" },
    { "NamingSystem",
      "name!:s status!:s=draft|active|retired|unknown kind!:s=codesystem|identifier|root date!:s "
      "publisher:s contact* responsible:s type description:s useContext* jurisdiction* usage:s "
      "uniqueId*!" },
    { "NutritionOrder",
      "identifier* instantiatesCanonical*:s instantiatesUri*:s instantiates*:s "
      "status!:s=draft|active|on-hold|revoked|completed|entered-in-error|unknown "
      "intent!:s=proposal|plan|directive|order|original-order|reflex-order|filler-order|instance-order|option "
      "patient! encounter dateTime!:s orderer allergyIntolerance* foodPreferenceModifier* "
      "excludeFoodModifier* oralDiet supplement* enteralFormula note*" },
    { "Observation",
      "identifier* basedOn* partOf* "
      "status!:s=registered|preliminary|final|amended|corrected|cancelled|entered-in-error|unknown "
      "category* code! subject focus* encounter effective[x] issued:s performer* value[x] "
      "dataAbsentReason interpretation* note* bodySite method specimen device referenceRange* "
      "hasMember* derivedFrom* component*" },
    { "ObservationDefinition",
      "category* code! identifier* "
      "permittedDataType*:s=Quantity|CodeableConcept|string|boolean|integer|Range|Ratio|SampledData|time|dateTime|Period "
      "multipleResultsAllowed:b method preferredReportName:s quantitativeDetails qualifiedInterval* "
      "validCodedValueSet normalCodedValueSet abnormalCodedValueSet criticalCodedValueSet" },
    { "OperationDefinition",
      "url:s version:s name!:s title:s status!:s=draft|active|retired|unknown kind!:s=operation|query "
      "experimental:b date:s publisher:s contact* description:s useContext* jurisdiction* purpose:s "
      "affectsState:b code!:s comment:s base:s resource*:s system!:b type!:b instance!:b inputProfile:s "
      "outputProfile:s parameter* overload*" },
    { "OperationOutcome",
      "issue*!" },
    { "Organization",
      "identifier* active:b type* name:s alias*:s telecom* address* partOf contact* endpoint*" },
    { "OrganizationAffiliation",
      "identifier* active:b period organization participatingOrganization network* code* specialty* "
      "location* healthcareService* telecom* endpoint*" },
    { "Parameters",
      "parameter*" },
    { "Patient",
      "identifier* active:b name* telecom* gender:s=male|female|other|unknown birthDate:s deceased[x] "
      "address* maritalStatus multipleBirth[x] photo* contact* communication* generalPractitioner* "
      "managingOrganization link*" },
    { "PaymentNotice",
      "identifier* status!:s=active|cancelled|draft|entered-in-error request response created!:s "
      "provider payment! paymentDate:s payee recipient! amount! paymentStatus" },
    { "PaymentReconciliation",
      "identifier* status!:s=active|cancelled|draft|entered-in-error period created!:s paymentIssuer "
      "request requestor outcome:s=queued|complete|error|partial disposition:s paymentDate!:s "
      "paymentAmount! paymentIdentifier detail* formCode processNote*" },
    { "Person",
      "identifier* name* telecom* gender:s=male|female|other|unknown birthDate:s address* photo "
      "managingOrganization active:b link*" },
    { "PlanDefinition",
      "url:s identifier* version:s name:s title:s subtitle:s type "
      "status!:s=draft|active|retired|unknown experimental:b subject[x] date:s publisher:s contact* "
      "description:s useContext* jurisdiction* purpose:s usage:s copyright:s approvalDate:s "
      "lastReviewDate:s effectivePeriod topic* author* editor* reviewer* endorser* relatedArtifact* "
      "library*:s goal* action*" },
    { "Practitioner",
      "identifier* active:b name* telecom* address* gender:s=male|female|other|unknown birthDate:s "
      "photo* qualification* communication*" },
    { "PractitionerRole",
      "identifier* active:b period practitioner organization code* specialty* location* "
      "healthcareService* telecom* availableTime* notAvailable* availabilityExceptions:s endpoint*" },
    { "Procedure",
      "identifier* instantiatesCanonical*:s instantiatesUri*:s basedOn* partOf* "
      "status!:s=preparation|in-progress|not-done|on-hold|stopped|completed|entered-in-error|unknown "
      "statusReason category code subject! encounter performed[x] recorder asserter performer* location "
      "reasonCode* reasonReference* bodySite* outcome report* complication* complicationDetail* "
      "followUp* note* focalDevice* usedReference* usedCode*" },
    { "Provenance",
      "target*! occurred[x] recorded!:s policy*:s location reason* activity agent*! entity* signature*" },
    { "Questionnaire",
      "url:s identifier* version:s name:s title:s derivedFrom*:s status!:s=draft|active|retired|unknown "
      "experimental:b subjectType*:s date:s publisher:s contact* description:s useContext* "
      "jurisdiction* purpose:s copyright:s approvalDate:s lastReviewDate:s effectivePeriod code* item*" },
    { "QuestionnaireResponse",
      "identifier basedOn* partOf* questionnaire:s "
      "status!:s=in-progress|completed|amended|entered-in-error|stopped subject encounter authored:s "
      "author source item*" },
    { "RelatedPerson",
      "identifier* active:b patient! relationship* name* telecom* gender:s=male|female|other|unknown "
      "birthDate:s address* photo* period communication*" },
    { "RequestGroup",
      "identifier* instantiatesCanonical*:s instantiatesUri*:s basedOn* replaces* groupIdentifier "
      "status!:s=draft|active|on-hold|revoked|completed|entered-in-error|unknown "
      "intent!:s=proposal|plan|directive|order|original-order|reflex-order|filler-order|instance-order|option "
      "priority:s=routine|urgent|asap|stat code subject encounter authoredOn:s author reasonCode* "
      "reasonReference* note* action*" },
    { "ResearchDefinition",
      "url:s identifier* version:s name:s title:s shortTitle:s subtitle:s "
      "status!:s=draft|active|retired|unknown experimental:b subject[x] date:s publisher:s contact* "
      "description:s comment*:s useContext* jurisdiction* purpose:s usage:s copyright:s approvalDate:s "
      "lastReviewDate:s effectivePeriod topic* author* editor* reviewer* endorser* relatedArtifact* "
      "library*:s population! exposure exposureAlternative outcome" },
    { "ResearchElementDefinition",
      "url:s identifier* version:s name:s title:s shortTitle:s subtitle:s "
      "status!:s=draft|active|retired|unknown experimental:b subject[x] date:s publisher:s contact* "
      "description:s comment*:s useContext* jurisdiction* purpose:s usage:s copyright:s approvalDate:s "
      "lastReviewDate:s effectivePeriod topic* author* editor* reviewer* endorser* relatedArtifact* "
      "library*:s type!:s=population|exposure|outcome variableType:s=dichotomous|continuous|descriptive "
      "characteristic*!" },
    { "ResearchStudy",
      "identifier* title:s protocol* partOf* "
      "status!:s=active|administratively-completed|approved|closed-to-accrual|closed-to-accrual-and-intervention|completed|disapproved|in-review|temporarily-closed-to-accrual|temporarily-closed-to-accrual-and-intervention|withdrawn "
      "primaryPurposeType phase category* focus* condition* contact* relatedArtifact* keyword* "
      "location* description:s enrollment* period sponsor principalInvestigator site* reasonStopped "
      "note* arm* objective*" },
    { "ResearchSubject",
      "identifier* "
      "status!:s=candidate|eligible|follow-up|ineligible|not-registered|off-study|on-study|on-study-intervention|on-study-observation|pending-on-study|potential-candidate|screening|withdrawn "
      "period study! individual! assignedArm:s actualArm:s consent" },
    { "RiskAssessment",
      "identifier* basedOn parent "
      "status!:s=registered|preliminary|final|amended|corrected|cancelled|entered-in-error|unknown "
      "method code subject! encounter occurrence[x] condition performer reasonCode* reasonReference* "
      "basis* prediction* mitigation:s note*" },
    { "RiskEvidenceSynthesis",
      "url:s identifier* version:s name:s title:s status!:s=draft|active|retired|unknown date:s "
      "publisher:s contact* description:s note* useContext* jurisdiction* copyright:s approvalDate:s "
      "lastReviewDate:s effectivePeriod topic* author* editor* reviewer* endorser* relatedArtifact* "
      "synthesisType studyType population! exposure outcome! sampleSize riskEstimate certainty*" },
    { "Schedule",
      "identifier* active:b serviceCategory* serviceType* specialty* actor*! planningHorizon comment:s" },
    { "SearchParameter",
      "url!:s version:s name!:s derivedFrom:s status!:s=draft|active|retired|unknown experimental:b "
      "date:s publisher:s contact* description!:s useContext* jurisdiction* purpose:s code!:s base*!:s "
      "type!:s=number|date|string|token|reference|composite|quantity|uri|special expression:s xpath:s "
      "xpathUsage:s=normal|phonetic|nearby|distance|other target*:s multipleOr:b multipleAnd:b "
      "comparator*:s=eq|ne|gt|lt|ge|le|sa|eb|ap "
      "modifier*:s=missing|exact|contains|not|text|in|not-in|below|above|type|identifier|ofType "
      "chain*:s component*" },
    { "ServiceRequest",
      "identifier* instantiatesCanonical*:s instantiatesUri*:s basedOn* replaces* requisition "
      "status!:s=draft|active|on-hold|revoked|completed|entered-in-error|unknown "
      "intent!:s=proposal|plan|directive|order|original-order|reflex-order|filler-order|instance-order|option "
      "category* priority:s=routine|urgent|asap|stat doNotPerform:b code orderDetail* quantity[x] "
      "subject! encounter occurrence[x] asNeeded[x] authoredOn:s requester performerType performer* "
      "locationCode* locationReference* reasonCode* reasonReference* insurance* supportingInfo* "
      "specimen* bodySite* note* patientInstruction:s relevantHistory*" },
    { "Slot",
      "identifier* serviceCategory* serviceType* specialty* appointmentType schedule! "
      "status!:s=busy|free|busy-unavailable|busy-tentative|entered-in-error start!:s end!:s "
      "overbooked:b comment:s" },
    { "Specimen",
      "identifier* accessionIdentifier status:s=available|unavailable|unsatisfactory|entered-in-error "
      "type subject receivedTime:s parent* request* collection processing* container* condition* note*" },
    { "SpecimenDefinition",
      "identifier typeCollected patientPreparation* timeAspect:s collection* typeTested*" },
    { "StructureDefinition",
      "url!:s identifier* version:s name!:s title:s status!:s=draft|active|retired|unknown "
      "experimental:b date:s publisher:s contact* description:s useContext* jurisdiction* purpose:s "
      "copyright:s keyword* "
      "fhirVersion:s=0.01|0.05|0.06|0.11|0.0.80|0.0.81|0.0.82|0.4.0|0.5.0|1.0.0|1.0.1|1.0.2|1.1.0|1.4.0|1.6.0|1.8.0|3.0.0|3.0.1|3.3.0|3.5.0|4.0.0|4.0.1 "
      "mapping* kind!:s=primitive-type|complex-type|resource|logical abstract!:b context* "
      "contextInvariant*:s type!:s baseDefinition:s derivation:s=specialization|constraint snapshot "
      "differential" },
    { "StructureMap",
      "url!:s identifier* version:s name!:s title:s status!:s=draft|active|retired|unknown "
      "experimental:b date:s publisher:s contact* description:s useContext* jurisdiction* purpose:s "
      "copyright:s structure* import*:s group*!" },
    { "Subscription",
      "status!:s=requested|active|error|off contact* end:s reason!:s criteria!:s error:s channel!" },
    { "Substance",
      "identifier* status:s=active|inactive|entered-in-error category* code! description:s instance* "
      "ingredient*" },
    { "SubstanceNucleicAcid",
      "sequenceType numberOfSubunits:n areaOfHybridisation:s oligoNucleotideType subunit*" },
    { "SubstancePolymer",
      "class geometry copolymerConnectivity* modification*:s monomerSet* repeat*" },
    { "SubstanceProtein",
      "sequenceType numberOfSubunits:n disulfideLinkage*:s subunit*" },
    { "SubstanceReferenceInformation",
      "comment:s gene* geneElement* classification* target*" },
    { "SubstanceSourceMaterial",
      "sourceMaterialClass sourceMaterialType sourceMaterialState organismId organismName:s "
      "parentSubstanceId* parentSubstanceName*:s countryOfOrigin* geographicalLocation*:s "
      "developmentStage fractionDescription* organism partDescription*" },
    { "SubstanceSpecification",
      "identifier type status domain description:s source* comment:s moiety* property* "
      "referenceInformation structure code* name* molecularWeight* relationship* nucleicAcid polymer "
      "protein sourceMaterial" },
    { "SupplyDelivery",
      "identifier* basedOn* partOf* status:s=in-progress|completed|abandoned|entered-in-error patient "
      "type suppliedItem occurrence[x] supplier destination receiver*" },
    { "SupplyRequest",
      "identifier* status:s=draft|active|suspended|cancelled|completed|entered-in-error|unknown "
      "category priority:s=routine|urgent|asap|stat item[x]! quantity! parameter* occurrence[x] "
      "authoredOn:s requester supplier* reasonCode* reasonReference* deliverFrom deliverTo" },
    { "Task",
      "identifier* instantiatesCanonical:s instantiatesUri:s basedOn* groupIdentifier partOf* "
      "status!:s=draft|requested|received|accepted|rejected|ready|cancelled|in-progress|on-hold|failed|completed|entered-in-error "
      "statusReason businessStatus "
      "intent!:s=unknown|proposal|plan|order|original-order|reflex-order|filler-order|instance-order|option "
      "priority:s=routine|urgent|asap|stat code description:s focus for encounter executionPeriod "
      "authoredOn:s lastModified:s requester performerType* owner location reasonCode reasonReference "
      "insurance* note* relevantHistory* restriction input* output*" },
    { "TerminologyCapabilities",
      "url:s version:s name:s title:s status!:s=draft|active|retired|unknown experimental:b date!:s "
      "publisher:s contact* description:s useContext* jurisdiction* purpose:s copyright:s "
      "kind!:s=instance|capability|requirements software implementation lockedDate:b codeSystem* "
      "expansion codeSearch:s=explicit|all validateCode translation closure" },
    { "TestReport",
      "identifier name:s status!:s=completed|in-progress|waiting|stopped|entered-in-error testScript! "
      "result!:s=pass|fail|pending score:n tester:s issued:s participant* setup test* teardown" },
    { "TestScript",
      "url!:s identifier version:s name!:s title:s status!:s=draft|active|retired|unknown "
      "experimental:b date:s publisher:s contact* description:s useContext* jurisdiction* purpose:s "
      "copyright:s origin* destination* metadata fixture* profile* variable* setup test* teardown" },
    { "ValueSet",
      "url:s identifier* version:s name:s title:s status!:s=draft|active|retired|unknown experimental:b "
      "date:s publisher:s contact* description:s useContext* jurisdiction* immutable:b purpose:s "
      "copyright:s compose expansion" },
    { "VerificationResult",
      "target* targetLocation*:s need "
      "status!:s=attested|validated|in-process|req-revalid|val-fail|reval-fail statusDate:s "
      "validationType validationProcess* frequency lastPerformed:s nextScheduled:s failureAction "
      "primarySource* attestation validator*" },
    { "VisionPrescription",
      "identifier* status!:s=active|cancelled|draft|entered-in-error created!:s patient! encounter "
      "dateWritten!:s prescriber! lensSpecification*!" },
};

const size_t r4_type_count = countof(r4_types);

static int type_cmp(const void *key, const void *row)
{
    return slice_cmp(*(const slice *)key, slice_of(((const r4_type *)row)->name));
}

const r4_type *r4_type_find(slice name)
{
    return bsearch(&name, r4_types, countof(r4_types), sizeof r4_types[0], type_cmp);
}

bool r4_next(slice *rest, r4_element *out)
{
    slice word, tail;
    size_t n = 0;

    if (rest->len == 0) return false;
    word = slice_cut(*rest, ' ', rest);
    while (n < word.len && strchr("*!:[", word.ptr[n]) == NULL) n++;
    *out = (r4_element){ .name = { word.ptr, n }, .kind = R4_COMPLEX };
    for (tail = slice_from(word, n); tail.len > 0; tail = slice_from(tail, 1)) {
        switch (tail.ptr[0]) {
        case '[': out->kind = R4_CHOICE; break;
        case '*': out->many = true; break;
        case '!': out->required = true; break;
        case ':':
            out->kind = tail.ptr[1] == 's' ? R4_TEXT : tail.ptr[1] == 'b' ? R4_BOOLEAN : R4_NUMBER;
            if (tail.len > 3) out->codes = slice_from(tail, 3);
            return true;
        default: break;                  /* "x]" of a choice */
        }
    }
    return true;
}

bool r4_element_find(const r4_type *type, slice key, r4_element *out)
{
    slice rest = slice_of(type->elements);
    r4_element e;
    bool found = false;

    if (key.len > 1 && key.ptr[0] == '_') key = slice_from(key, 1);
    while (r4_next(&rest, &e)) {
        if (e.kind != R4_CHOICE) {
            if (!slice_eq(e.name, key)) continue;
            *out = e;                    /* goes before a choice that begins alike */
            return true;
        }
        if (key.len > e.name.len && slice_starts(key, e.name) &&
            key.ptr[e.name.len] >= 'A' && key.ptr[e.name.len] <= 'Z') {
            *out = e;
            found = true;
        }
    }
    return found;
}
